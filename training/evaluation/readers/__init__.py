"""Readers of published formats: files as their authors ship them, to region and expression sets.

Every reader takes the folder of a data set and says, where a file is missing, where to get it and
how the folder looks. One bad entry is left out and reported in ``skipped``. Names of pictures in
the files never lead out of the folder.
"""
