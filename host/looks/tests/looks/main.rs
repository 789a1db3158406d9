//! What is drawn, as a browser's parser sees it.

mod any;
mod cards;
mod golden;
mod hostile;
mod page;
