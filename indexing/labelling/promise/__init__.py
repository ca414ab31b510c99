"""Whether a precision can be promised: tests, bounds and calibration."""
