//! `GET /assets/{version}/{name}`: stylesheet, scripts and pictures, which are compiled into the program.
//!
//! The version is a hash of all assets. So browsers may cache them permanently, and scripts that import each other by
//! relative paths always get matching versions.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, EntityTag},
    web::Path,
};
use sha2::{Digest as _, Sha256};

use super::super::{
    get_order,
    problem::{Code, Problem},
};

/// Hexadecimal digits of the hash in an address: 64 bits. A collision would benefit nobody.
const HASH: usize = 16;

/// A year, the longest useful time. RFC 9111 has no upper bound, but browsers do not keep anything longer.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// The picture for a product without one of its own.
const OTHER: &str = "products/other.svg";

struct Asset {
    name: &'static str,
    body: &'static [u8],
}

macro_rules! assets {
    ($($name:literal)+) => {
        &[$(Asset { name: $name, body: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $name)) },)+]
    };
}

/// All assets; a test compares the list with the folder.
const ASSETS: &[Asset] = assets! {
    "cart.js"
    "home.js"
    "mark.svg"
    "money.js"
    "ops.js"
    "products/APRON-LINEN.svg"
    "products/BATTERY-BULK.svg"
    "products/COFFEE-1000.svg"
    "products/COFFEE-250.svg"
    "products/FILTER-100.svg"
    "products/GRINDER-HAND.svg"
    "products/KETTLE-GOOSE.svg"
    "products/LAMP-SOLDOUT.svg"
    "products/MUG-BLUE.svg"
    "products/MUG-SAND.svg"
    "products/NOTEBOOK-A5.svg"
    "products/TEAPOT-1L.svg"
    "products/other.svg"
    "shop.js"
    "style.css"
    "track.js"
    "within.js"
};

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in ASSETS {
        hash.update(asset.name);
        hash.update(asset.body);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(HASH);
    text
});

/// Returns the path of an asset: `/assets/0f3a…/style.css`.
#[must_use]
pub fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// Returns the path of a product's picture, or of a parcel if the product has none.
#[must_use]
pub fn picture(sku: &str) -> String {
    let own = format!("products/{sku}.svg");
    url(find(&own).map_or(OTHER, |asset| asset.name))
}

fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// Returns the asset, or 304 if the browser already has it.
///
/// During an upgrade, a page rendered by another version of this program requests that version's assets. It gets ours,
/// which it must not cache.
///
/// # Errors
/// 404 for an unknown asset.
pub async fn handle(request: HttpRequest, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let (version, name) = path.into_inner();
    let asset = find(&name).ok_or_else(|| Problem::new(Code::NotFound, "There is no such file."))?;
    let tag = EntityTag::new_strong(VERSION.clone());
    let is_known = get_order::is_known(&request, &tag);
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    let kept = if version == *VERSION { FOR_GOOD } else { "no-cache" };
    answer.insert_header((header::ETAG, tag.to_string())).insert_header((header::CACHE_CONTROL, kept));
    if is_known {
        return Ok(answer.finish());
    }
    Ok(answer.content_type(media_type(name.as_str())).body(asset.body))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path as FilePath};

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_with_its_media_type() {
        let root = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let mut files = BTreeSet::new();
        for folder in ["", "products"] {
            for entry in fs::read_dir(root.join(folder)).expect("it is there").flatten().filter(|e| e.path().is_file())
            {
                let path = entry.path();
                files.insert(path.strip_prefix(&root).expect("below").to_str().expect("text").to_owned());
            }
        }
        assert_eq!(files, ASSETS.iter().map(|asset| asset.name.to_owned()).collect());
        assert!(ASSETS.iter().all(|asset| media_type(asset.name) != "application/octet-stream"));
    }

    #[test]
    fn a_product_without_a_picture_has_a_parcel() {
        assert!(picture("MUG-BLUE").ends_with("/products/MUG-BLUE.svg"));
        assert!(picture("SOMETHING-NEW").ends_with("/products/other.svg"));
        assert!(picture("../style.css").ends_with("/products/other.svg"));
    }
}
