//! The settings of a worker process, all read and checked before anything starts.

use orderflow_service::config::{
    self, BrokerConfig, CarrierConfig, ConfigError, DatabaseConfig, LinkConfig, LogConfig, MailConfig, PaymentConfig,
    Source, TraceConfig, WorkerConfig,
};

/// Everything that a worker is set up with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Logging.
    pub log: LogConfig,
    /// Traces.
    pub trace: TraceConfig,
    /// PostgreSQL.
    pub database: DatabaseConfig,
    /// RabbitMQ.
    pub broker: BrokerConfig,
    /// The process itself.
    pub worker: WorkerConfig,
    /// Tokens and links in mails.
    pub links: LinkConfig,
    /// The payment provider.
    pub payment: PaymentConfig,
    /// The carrier.
    pub carrier: CarrierConfig,
    /// Mails.
    pub mail: MailConfig,
}

impl Settings {
    /// Reads them all.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn read(source: &Source) -> Result<Self, ConfigError> {
        config::check(source);
        // Each is read before any is unwrapped, so that all problems are found.
        let log = LogConfig::read(source);
        let trace = TraceConfig::read(source);
        let database = DatabaseConfig::read(source);
        let broker = BrokerConfig::read(source);
        let worker = WorkerConfig::read(source);
        let links = LinkConfig::read(source);
        let payment = PaymentConfig::read(source);
        let carrier = CarrierConfig::read(source);
        let mail = MailConfig::read(source);
        source.finish((|| {
            Some(Self {
                log: log?,
                trace: trace?,
                database: database?,
                broker: broker?,
                worker: worker?,
                links: links?,
                payment: payment?,
                carrier: carrier?,
                mail: mail?,
            })
        })())
    }
}
