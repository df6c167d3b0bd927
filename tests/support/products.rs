use crate::Shop;

/// Adds this many products of which 50 each are in stock: `THING-1`, "Thing number 1" for 1.01 EUR, and so on.
pub async fn add_products(shop: &Shop, count: u32) {
    for statement in [
        format!(
            "INSERT INTO catalogue.products (sku, name, price, currency, position)
             SELECT 'THING-' || n, 'Thing number ' || n, 100 + n, 'EUR', 100 + n FROM generate_series(1, {count}) AS n"
        )
        .as_str(),
        "INSERT INTO inventory.stock (sku, available) SELECT sku, 50 FROM catalogue.products WHERE sku LIKE 'THING-%'",
        "INSERT INTO inventory.movements (sku, kind, quantity)
         SELECT sku, 'adjusted', 50 FROM catalogue.products WHERE sku LIKE 'THING-%'",
    ] {
        shop.execute(statement).await;
    }
}
