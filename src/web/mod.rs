//! HTTP: health, metrics, the page that says how to call.
