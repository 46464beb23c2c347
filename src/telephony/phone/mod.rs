//! A little SIP phone: dials, presses keys, hears prompts. For `voceguida call` and for tests that
//! call the server as a parent would (design §5). Knows nothing of meals.

pub mod keys;
pub mod quiet;
pub mod recognise;
