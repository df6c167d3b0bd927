//! Screenshots of pages: for the documentation, and of the page on which a test failed.

use std::{env, fs, path::PathBuf, process, thread, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::wire::Session;

/// Screenshots cut a page that is longer than this, in CSS pixels.
const LONGEST: f64 = 4000.0;

/// The largest size of the documentation's screenshots, in pixels. Larger pages are scaled down to keep the files
/// small.
const LARGEST: (f64, f64) = (640.0, 2400.0);

/// How long the screenshot of a failure may take.
const OF_FAILURE: Duration = Duration::from_secs(20);

/// Writes a screenshot for the documentation.
pub(super) async fn of_page(session: &Session, name: &str) {
    let folder = env::var_os("PICTURES").map_or_else(log_folder, PathBuf::from);
    write(session, &folder, name, LARGEST).await.unwrap_or_else(|error| panic!("no picture {name}: {error}"));
}

fn log_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.dev/log/browser")
}

async fn write(
    session: &Session,
    folder: &PathBuf,
    name: &str,
    (widest, tallest): (f64, f64),
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let metrics = session.devtools("Page.getLayoutMetrics", json!({})).await?;
    let size = &metrics["cssContentSize"];
    let height = size["height"].as_f64().unwrap_or_default().min(LONGEST);
    let width = size["width"].as_f64().unwrap_or_default();
    let scale = (widest / width).min(tallest / height).min(1.0);
    let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": scale });
    let wanted = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
    let picture = session.devtools("Page.captureScreenshot", wanted).await?;
    let bytes = STANDARD.decode(picture["data"].as_str().unwrap_or_default())?;
    let path = folder.join(format!("{name}.png"));
    fs::create_dir_all(folder)?;
    fs::write(&path, bytes)?;
    Ok(path)
}

/// Leaves a screenshot of the page on which a test failed, and prints the page's address, text and console. It never
/// fails itself: the test has already failed and reported why.
pub(super) fn of_failure(session: &Session) {
    let session = session.clone();
    let name = format!("failed-{}", process::id());
    // A runtime of its own: the test's may be unwinding.
    let looking = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        let look = async {
            let text = session.run("return document.body.innerText", json!([])).await;
            let console = session.log("browser").await;
            let console: Vec<Value> =
                console.unwrap_or_default().iter().map(|entry| entry["message"].clone()).collect();
            println!("the page was {:?}: {text:?}, its console {console:?}", session.url().await);
            println!("its picture: {:?}", write(&session, &log_folder(), &name, (f64::INFINITY, f64::INFINITY)).await);
        };
        drop(runtime.block_on(async { tokio::time::timeout(OF_FAILURE, look).await }));
    });
    drop(looking.join());
}
