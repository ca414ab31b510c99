"""Workers that embed the shards of a plan side by side, and the engines that run them."""
