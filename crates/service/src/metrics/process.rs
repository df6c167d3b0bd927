//! The process's use of CPU, memory and descriptors, under the names that every Prometheus client uses. Read on each
//! scrape.

use std::fmt;

use procfs::process::Process;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Reads `/proc/self`.
#[derive(Debug)]
pub(super) struct ProcessCollector;

struct Usage {
    cpu_seconds: f64,
    memory: u64,
    descriptors: u64,
}

impl Usage {
    /// Returns the current usage, or `None` if it cannot be read: no value is better than a wrong one.
    fn now() -> Option<Self> {
        let process = Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let ticks = u32::try_from(stat.utime.saturating_add(stat.stime)).ok()?;
        let per_second = u32::try_from(procfs::ticks_per_second()).ok()?;
        Some(Self {
            cpu_seconds: f64::from(ticks) / f64::from(per_second),
            memory: stat.rss.saturating_mul(procfs::page_size()),
            descriptors: u64::try_from(process.fd_count().ok()?).ok()?,
        })
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(usage) = Usage::now() else { return Ok(()) };
        let cpu = ConstCounter::new(usage.cpu_seconds);
        let help = "Processor time that the process has used.";
        cpu.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)?;
        let memory = ConstGauge::new(usage.memory);
        let help = "Memory of the process that is in RAM.";
        let bytes = Some(&Unit::Bytes);
        memory.encode(encoder.encode_descriptor("process_resident_memory", help, bytes, memory.metric_type())?)?;
        let open = ConstGauge::new(usage.descriptors);
        let help = "Files and connections that the process has open.";
        open.encode(encoder.encode_descriptor("process_open_fds", help, None, open.metric_type())?)
    }
}
