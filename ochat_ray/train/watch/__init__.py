"""What people see of a run: a line, trackers and a page, made in the driver from the logs."""
