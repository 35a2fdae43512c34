"""Figures made to be read as still pictures in a page: everything said in the picture, nothing on hover."""
