"""The engines that hold copies of an index: how vectors are moved there in bulk, and searched."""
