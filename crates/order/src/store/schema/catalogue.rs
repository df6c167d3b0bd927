// @generated automatically by Diesel CLI.

pub mod catalogue {
    diesel::table! {
        catalogue.products (sku) {
            sku -> Text,
            name -> Text,
            price -> Int8,
            currency -> Text,
            position -> Int4,
        }
    }
}
