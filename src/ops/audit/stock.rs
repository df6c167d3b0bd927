//! Checks that each product's stock is the sum of its movements.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use orderflow_service::store::{Connection, StoreError};
use orderflow_worker::services::inventory::stock;

use super::{
    catalogue::{STOCK_BELOW_ZERO, STOCK_SUM},
    finding::{Finding, Named},
    report::Report,
};
use crate::{ops::words::are, store::audit::glance};

/// The movements that one statement sums.
const AT_ONCE: i64 = 100_000;

/// Sums the movements up to the last one before which no more can appear, in batches. Then sums the rest together with
/// the orderable stock in one statement, which sees a single snapshot.
///
/// # Errors
/// Returns database errors.
pub async fn check(connection: &mut Connection, report: &mut Report) -> Result<(), StoreError> {
    let settled = glance(connection, |c, _| stock::last_settled_movement(c).boxed()).await?;
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    let mut reached = 0;
    while reached < settled {
        let upto = settled.min(reached + AT_ONCE);
        for moved in glance(connection, move |c, _| stock::moved(c, reached, upto).boxed()).await? {
            *sums.entry(moved.sku).or_default() += moved.pieces;
        }
        reached = upto;
    }
    for balance in glance(connection, move |c, _| stock::balances(c, settled).boxed()).await? {
        let sum = sums.remove(&balance.sku).unwrap_or(0) + balance.moved;
        judge(&balance.sku, balance.available, sum, report);
    }
    // Old movements of products without a stock row.
    sums.into_iter().for_each(|(sku, sum)| judge(&sku, None, sum, report));
    Ok(())
}

fn judge(sku: &str, available: Option<i64>, sum: i64, report: &mut Report) {
    let of = || Named::Product { sku: sku.to_owned() };
    let there = available.unwrap_or(0);
    if there < 0 {
        report.add(Finding::Violation { rule: STOCK_BELOW_ZERO, of: of(), what: format!("{there} are orderable") });
    }
    if there != sum {
        let what = format!("{} orderable, but its movements add up to {sum}", are(there, "piece"));
        report.add(Finding::Violation { rule: STOCK_SUM, of: of(), what });
    }
}
