//! One order's story as text: first what it waits for, then what happened, then what each service did.

use std::io::{self, Write};

use chrono::TimeDelta;
use orderflow_order::domain::OrderStatus;
use orderflow_service::broker::names;
use serde_json::Value;

use super::{facts::Order, report::Report, waiting::Wait};
use crate::{
    ops::words::{at, money, span, table, wrapped},
    store::story::{DeadLetter, Event, Found},
};

/// Writes that there is no such order.
pub fn nothing(out: &mut impl Write, asked: &str) -> io::Result<()> {
    writeln!(out, "There is no order {asked:?}.")?;
    writeln!(out, "Give its id, its number (ten characters), or the e-mail address that it was placed with.")
}

/// Writes the list of orders of one address.
pub fn several(out: &mut impl Write, orders: &[Found], more: bool) -> io::Result<()> {
    let rows: Vec<_> = orders
        .iter()
        .map(|order| {
            [order.number.clone(), order.status.clone(), at(&order.created_at), order.order_id.hyphenated().to_string()]
        })
        .collect();
    let all = if more { format!("The newest {} orders of this address", orders.len()) } else { heading(orders.len()) };
    writeln!(out, "{all}:\n")?;
    table(out, ["number", "status", "placed (UTC)", "id"], &rows)?;
    writeln!(out, "\nThe story of one of them: `orderflow why NUMBER`")
}

fn heading(orders: usize) -> String {
    format!("The {orders} orders of this address, the newest first")
}

/// Writes the whole story.
pub fn story(out: &mut impl Write, report: &Report) -> io::Result<()> {
    match &report.order {
        Some(order) => head(out, report, order)?,
        None => writeln!(out, "The order itself cannot be read; what else is known:")?,
    }
    waiting(out, report)?;
    if !report.violations.is_empty() {
        writeln!(out, "\nNOT AS IT SHOULD BE")?;
        for violation in &report.violations {
            wrapped(out, "  ", violation)?;
        }
    }
    if !report.unavailable.is_empty() {
        writeln!(out, "\nCOULD NOT BE READ")?;
        for reason in &report.reasons {
            wrapped(out, "  ", reason)?;
        }
    }
    events(out, report)?;
    failures(out, report)?;
    services(out, report)?;
    if let Some(queues) = report.not_tracked.as_deref().filter(|queues| !queues.is_empty()) {
        writeln!(out, "\nNot tracked, so only these services know what they have applied")?;
        wrapped(out, "  ", &queues.join(", "))?;
    }
    match report.trace_ids.as_deref() {
        Some([]) | None => Ok(()),
        Some(ids) => writeln!(out, "\nTraces\n  {}", ids.join("\n  ")),
    }
}

fn head(out: &mut impl Write, report: &Report, order: &Order) -> io::Result<()> {
    let asked = match (order.cancel_requested, order.status.parse::<OrderStatus>()) {
        (true, Ok(OrderStatus::Shipped | OrderStatus::InTransit | OrderStatus::Delivered)) => {
            "; the customer asked to cancel it, too late"
        }
        (true, _) => "; the customer asked to cancel it",
        (false, _) => "",
    };
    writeln!(out, "Order {}: {}{asked}\n", order.number, order.status)?;
    writeln!(out, "  id      {}", order.order_id)?;
    let ago = span(report.generated_at - order.created_at);
    writeln!(out, "  placed  {} UTC, {ago} ago; status since {}", at(&order.created_at), at(&order.updated_at))?;
    let items: Vec<_> = order.items.iter().map(|item| format!("{} {}", item.quantity, item.sku)).collect();
    wrapped(out, "  total   ", &format!("{} for {}", money(order.total, &order.currency), items.join(", ")))
}

fn waiting(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "\nWAITING FOR")?;
    let settled =
        report.order.as_ref().and_then(|order| order.status.parse().ok()).is_some_and(OrderStatus::is_settled);
    match report.waiting_for.as_deref() {
        None => writeln!(out, "  unknown, because not everything could be read"),
        Some([]) if settled => writeln!(out, "  nothing: the order is settled, and everyone has been notified"),
        Some([]) => writeln!(out, "  nothing is under way"),
        Some(waits) => {
            for (place, wait) in waits.iter().enumerate() {
                wrapped(out, "  ", &wait.what)?;
                // Written once for neighbours with the same remedy.
                if waits.get(place + 1).is_none_or(|next: &Wait| next.remedy != wait.remedy) {
                    wrapped(out, "    -> ", &wait.remedy)?;
                }
            }
            if settled {
                writeln!(out, "  The order itself is settled.")?;
            }
            Ok(())
        }
    }
}

fn events(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Some(events) = &report.events else { return Ok(()) };
    writeln!(out, "\nEvents")?;
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            let gap = event.gap_ms.map(|gap| span(TimeDelta::milliseconds(gap))).unwrap_or_default();
            let by = event.source.trim_start_matches("/orderflow/");
            [event.version.to_string(), event.event.clone(), at(&event.occurred_at), gap, by.to_owned(), detail(event)]
        })
        .collect();
    table(out, ["", "event", "at (UTC)", "after", "source", "reason"], &rows)
}

/// Returns the reason that an event contains, if any; everything else in it is also in the services' rows below.
fn detail(event: &Event) -> String {
    if let Some(reason) = event.data.get("reason").and_then(Value::as_str) {
        return reason.to_owned();
    }
    let short = event.data.get("short").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let short = short.iter().filter_map(|item| {
        let (sku, wanted, there) = (item.get("sku")?.as_str()?, item.get("wanted")?, item.get("available")?);
        Some(format!("{sku}: {wanted} wanted, {there} there"))
    });
    short.collect::<Vec<_>>().join("; ")
}

fn failures(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if let Some(attempts) = report.attempts.as_ref().filter(|attempts| !attempts.is_empty()) {
        writeln!(out, "\nFailed attempts (UTC)")?;
        for one in attempts {
            let then = one.retry_at.map_or("dead-lettered".to_owned(), |due| format!("again at {}", at(&due)));
            let (when, who, number) = (at(&one.failed_at), &one.subscription, one.attempt);
            writeln!(out, "  {when}  {who}, attempt {number}, {then}")?;
            wrapped(out, "      ", &one.reason)?;
        }
    }
    if let Some(dead_letters) = report.dead_letters.as_ref().filter(|dead_letters| !dead_letters.is_empty()) {
        writeln!(out, "\nDead letters that need attention")?;
        let row = |one: &DeadLetter| {
            [at(&one.died_at), names::dead_letter_queue(&one.subscription), one.event_id.hyphenated().to_string()]
        };
        table(out, ["since (UTC)", "queue", "message id"], &dead_letters.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn services(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut rows: Vec<[String; 4]> = Vec::new();
    for one in report.payments.iter().flatten() {
        let amount = money(one.amount, &one.currency);
        let ids = [one.reason.as_ref(), Some(&one.payment_id), one.charge_id.as_ref(), one.refund_id.as_ref()];
        let ids: Vec<_> = ids.into_iter().flatten().cloned().collect();
        let when = one.reversed_at.unwrap_or(one.created_at);
        rows.push(["payment".to_owned(), one.status.clone(), at(&when), format!("{amount}: {}", ids.join(", "))]);
    }
    if let Some(stock) = &report.stock
        && let Some(one) = &stock.reservation
    {
        let moved = stock.movements.iter().map(|one| format!("{:+} {}", one.quantity, one.sku));
        let when = one.released_at.unwrap_or(one.decided_at);
        rows.push(["stock".to_owned(), one.outcome.clone(), at(&when), moved.collect::<Vec<_>>().join(", ")]);
    }
    for one in report.shipments.iter().flatten() {
        let what = one.tracking_number.as_ref().map(|number| format!("tracking number {number}"));
        let what = what.or_else(|| one.reason.clone()).unwrap_or_default();
        rows.push(["shipment".to_owned(), one.status.clone(), at(&one.created_at), what]);
    }
    for one in report.mails.iter().flatten() {
        let (state, why) = match (one.sent_at, one.held_back_at) {
            (Some(_), _) => ("sent", ""),
            (None, Some(_)) => ("held back", "its address reached MAIL_LIMIT within the hour"),
            (None, None) => ("planned, not sent", ""),
        };
        let when = at(&one.sent_at.or(one.held_back_at).unwrap_or(one.created_at));
        rows.push(["mail".to_owned(), format!("{} {state}", one.kind), when, why.to_owned()]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat the services did")?;
    table(out, ["", "what", "at (UTC)", ""], &rows)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            facts::Facts,
            sample::{self, Sample},
        },
        *,
    };

    fn rendered(facts: Facts) -> String {
        let mut out = Vec::new();
        story(&mut out, &Report::new(facts)).expect("a Vec can be written to");
        let text = String::from_utf8(out).expect("it is text");
        for line in text.lines() {
            assert!(line.chars().count() <= 100 && line.trim_end() == line, "{line:?}");
        }
        text
    }

    #[test]
    fn a_shipped_order() {
        insta::assert_snapshot!(rendered(sample::shipped().facts()));
    }

    #[test]
    fn retried_order_with_a_parked_mail() {
        let facts = Sample::placed()
            .failed("payment.order-created", 1, 70, Some(60))
            .failed("payment.order-created", 2, 20, Some(-40))
            .failed("email.order-created", 1, 75, None)
            .died("email.order-created", 75)
            .facts();
        insta::assert_snapshot!(rendered(facts));
    }

    #[test]
    fn partly_readable_order() {
        let mut facts = Sample::placed().facts();
        facts.outbox = None;
        facts.unreadable.push(("outbox", "the database refused a statement: permission denied".to_owned()));
        insta::assert_snapshot!(rendered(facts));
    }
}
