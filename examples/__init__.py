"""Examples: data of your own, and the demo's data set."""
