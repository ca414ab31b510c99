"""What a region is: a box, mask or polygon of a picture, and how it is written down."""
