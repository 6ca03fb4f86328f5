"""Power rails that the kernel shows under hwmon."""
