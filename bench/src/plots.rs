//! Charts of the figures.

use std::{io, path::Path};

use plotters::{
    drawing::DrawingAreaErrorKind,
    prelude::{
        BLACK, BLUE, ChartBuilder, Color as _, DrawingBackend, IntoDrawingArea as _, LineSeries, PathElement, RED,
        Rectangle, SVGBackend, Text, WHITE,
    },
};

use crate::figures::{Figures, shown};

/// Width and height in pixels.
const SIZE: (u32, u32) = (900, 450);

/// The font and its size in pixels.
const FONT: (&str, u32) = ("sans-serif", 15);

/// The bars of the throughput chart, from top to bottom: figure and label.
const BARS: [(&str, &str); 8] = [
    ("broker_ceiling", "RabbitMQ alone"),
    ("drain", "Orderflow, backlog"),
    ("drain_4_workers", "Orderflow, backlog, 4 workers"),
    ("http", "Orderflow, over HTTP"),
    ("single", "Orderflow, BATCH_SIZE=1"),
    ("nestjs", "NestJS"),
    ("faststream", "FastStream"),
    ("dbos", "DBOS"),
];

/// The loads in percent of our maximum throughput, and the figures for each.
const LOADS: [(u32, &str, &str); 4] = [
    (10, "p50_ms_10", "p99_ms_10"),
    (30, "p50_ms_30", "p99_ms_30"),
    (50, "p50_ms_50", "p99_ms_50"),
    (70, "p50_ms_70", "p99_ms_70"),
];

/// Draws `throughput.svg` and `latency.svg`.
///
/// # Errors
/// Fails if a chart cannot be written.
pub fn draw(figures: &Figures, out: &Path) -> io::Result<()> {
    let rates: Vec<_> =
        BARS.iter().filter_map(|(name, title)| Some(((*title).to_owned(), figures.median(name)?))).collect();
    bars(SVGBackend::new(&out.join("throughput.svg"), SIZE), &rates).map_err(io::Error::other)?;
    let of = |name: &str| figures.median(name);
    let loads: Vec<_> = LOADS.iter().filter_map(|(load, p50, p99)| Some((*load, of(p50)?, of(p99)?))).collect();
    latency(SVGBackend::new(&out.join("latency.svg"), SIZE), &loads).map_err(io::Error::other)
}

/// Draws `growth.svg`: a bar for each size of the database.
///
/// # Errors
/// Fails if the chart cannot be written.
pub fn growth(out: &Path, rates: &[(String, f64)]) -> io::Result<()> {
    std::fs::create_dir_all(out)?;
    bars(SVGBackend::new(&out.join("growth.svg"), SIZE), rates).map_err(io::Error::other)
}

/// Draws one bar per rate, the first at the top.
fn bars<B: DrawingBackend>(backend: B, bars: &[(String, f64)]) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let area = backend.into_drawing_area();
    area.fill(&WHITE)?;
    let greatest = bars.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let lines = f64::from(u32::try_from(bars.len()).unwrap_or(u32::MAX));
    let mut chart = ChartBuilder::on(&area)
        .caption("Orders shipped per second (medians)", FONT)
        .margin(15)
        .x_label_area_size(30)
        .build_cartesian_2d(0.0..greatest * 1.35, lines..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .max_light_lines(1)
        .x_label_formatter(&|rate| format!("{rate:.0}"))
        .draw()?;
    for (line, (title, rate)) in (0_u32..).zip(bars) {
        let top = f64::from(line);
        chart.draw_series([Rectangle::new([(0.0, top + 0.15), (*rate, top + 0.85)], BLUE.mix(0.5).filled())])?;
        let label = format!("{title}: {}", shown(*rate));
        chart.draw_series([Text::new(label, (rate + greatest * 0.01, top + 0.4), FONT)])?;
    }
    area.present()
}

/// Draws the median and the 99th percentile from the answer 202 to shipped, against the load.
fn latency<B: DrawingBackend>(backend: B, loads: &[(u32, f64, f64)]) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let area = backend.into_drawing_area();
    area.fill(&WHITE)?;
    let greatest = loads.iter().map(|(_, p50, p99)| p50.max(*p99)).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption("From the answer 202 to shipped", FONT)
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0_u32..100, 0.0..greatest * 1.1)?;
    chart
        .configure_mesh()
        .max_light_lines(1)
        .y_label_formatter(&|time| format!("{time:.0}"))
        .x_desc("load, % of the maximum")
        .y_desc("milliseconds")
        .draw()?;
    let medians = LineSeries::new(loads.iter().map(|(load, p50, _)| (*load, *p50)), BLUE.stroke_width(2));
    let worst = LineSeries::new(loads.iter().map(|(load, _, p99)| (*load, *p99)), RED.stroke_width(2));
    for (series, title, colour) in [(medians, "median", BLUE), (worst, "99th percentile", RED)] {
        let key = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour);
        chart.draw_series(series)?.label(title).legend(key);
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    area.present()
}
