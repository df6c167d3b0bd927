//! The operator's commands: thin, over store and broker.
