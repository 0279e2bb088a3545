//! portreeve: sweeps the networks its operator owns for ports that must not be reachable.
