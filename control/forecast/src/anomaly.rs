//! Whether an observation of a series is unusual, judged as it arrives.
