//! An address, or a network of them, in its one form.

// The type alone: nothing here talks to a network.
use core::net::IpAddr;
use std::{fmt, str::FromStr};

use super::serde_by_str;
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    bits: Option<u32>,
}

impl Network {
    /// Whether each address there is lies in it.
    pub fn is_everybody(self) -> bool {
        self.bits == Some(0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            Some(bits) => write!(f, "{}/{bits}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        let bad = |why: &str| {
            Error::usage("bad_network", format!("`{shown}` is {why}"))
                .hint("write \"203.0.113.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"")
        };
        let refused = || bad("no address and no network");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let Some(bits) = bits else { return Ok(Self { address, bits: None }) };
        let plain = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u32 = bits.parse().ok().filter(|_| plain).ok_or_else(refused)?;
        let (number, width) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        if bits > width {
            return Err(refused());
        }
        let beyond = width - bits;
        if beyond > 0 && number.trailing_zeros() < beyond && number != 0 {
            return Err(bad(&format!("an address in a network of {bits} bits")));
        }
        Ok(Self { address, bits: Some(bits) })
    }
}

serde_by_str!(Network);
