//! Both ends of the link against each other, over UDP on 127.0.0.1.

mod abuse;
mod bounds;
mod carry;
mod certified;
mod life;
mod loss;
mod support;
mod trust;
