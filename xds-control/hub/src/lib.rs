//! What the control service knows, shared: one model, its catalog, wake-ups, and which proxies acknowledged what.
