//! Audits parcels: compares the shipping service's rows with each order's log.

use orderflow_service::audit::{Check, FILE_IT, ORPHAN, Rule, Subject};

/// The remedy for a parcel that should not be on its way.
const STOP_PARCEL: &str = "ask the carrier whether it has the parcel (its tracking number is in `orderflow why ORDER`) and \
                           stop it, then file the output of `orderflow why ORDER --json`";

pub const SUBJECT: Subject = Subject {
    from: "said FULL JOIN (SELECT * FROM shipping.v_shipments WHERE order_id > $1 AND order_id <= $2) AS shipment
               USING (order_id)
           FULL JOIN placed USING (order_id)",
    checks: &[
        Check {
            rule: Rule { name: "parcel-orphan", remedy: ORPHAN },
            broken: "shipment.status IS NOT NULL AND placed.number IS NULL",
            what: "there is a shipment for an order that does not exist",
        },
        Check {
            rule: Rule { name: "parcel", remedy: STOP_PARCEL },
            broken: "(order_cancelled OR payment_failed) AND shipment.status IN ('booking', 'created')",
            what: "the carrier has its parcel or a request for it, though the order has ended without shipping",
        },
        Check {
            rule: Rule { name: "parcel-uncaused", remedy: STOP_PARCEL },
            broken: "placed.number IS NOT NULL AND shipment.status IN ('booking', 'created', 'refused')
                     AND NOT coalesce(inventory_reserved, false)",
            what: "the carrier has its parcel or a request for it, though no reservation was logged",
        },
        Check {
            rule: Rule { name: "shipment-unsaid", remedy: FILE_IT },
            broken: "NOT CASE shipment.status
                         WHEN 'created' THEN shipment_created WHEN 'refused' THEN shipment_failed
                         WHEN 'cancelled' THEN shipment_cancelled ELSE true END",
            what: "the shipping service has stored a decision that the log does not have",
        },
        Check {
            rule: Rule { name: "shipment-lost", remedy: FILE_IT },
            broken: "(shipment_created AND shipment.status IS DISTINCT FROM 'created')
                     OR (shipment_failed AND shipment.status IS DISTINCT FROM 'refused')
                     OR (shipment_cancelled AND shipment.status IS DISTINCT FROM 'cancelled')",
            what: "the log has a decision of the shipping service that its rows do not have",
        },
    ],
    once_applied: &[],
};
