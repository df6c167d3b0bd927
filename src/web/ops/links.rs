//! Links to other programs' pages: RabbitMQ's management UI and the trace viewer.

use orderflow_service::config::{AdminConfig, OperatorsConfig, TRACE_ID};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Makes links to those programs whose addresses are configured.
#[derive(Debug, Clone, Default)]
pub struct Links {
    rabbitmq: Option<String>,
    traces: Option<String>,
}

impl Links {
    /// Creates the links from the settings.
    #[must_use]
    pub fn new(config: &OperatorsConfig) -> Self {
        let (ui, admin) = (config.ui_url.as_ref(), config.broker.as_ref().map(|(_, admin)| admin));
        let vhost = |admin: &AdminConfig| utf8_percent_encode(&admin.vhost, NON_ALPHANUMERIC).to_string();
        let rabbitmq = admin.map(|admin| {
            let root = ui.unwrap_or(&admin.management_url).as_str().trim_end_matches('/').to_owned();
            format!("{root}/#/queues/{}", vhost(admin))
        });
        Self { rabbitmq, traces: config.trace_viewer.clone() }
    }

    /// Returns the address of a queue in RabbitMQ's management UI.
    #[must_use]
    pub fn queue(&self, queue: &str) -> Option<String> {
        Some(format!("{}/{}", self.rabbitmq.as_ref()?, utf8_percent_encode(queue, NON_ALPHANUMERIC)))
    }

    /// Returns the address of a trace in the trace viewer, or `None` if `trace_id` is not hexadecimal.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Option<String> {
        // The id comes from an event, which another program may have written.
        let is_one = !trace_id.is_empty() && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.traces.as_ref().filter(|_| is_one).map(|viewer| viewer.replace(TRACE_ID, trace_id))
    }
}
