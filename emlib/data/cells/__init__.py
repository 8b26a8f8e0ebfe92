"""The parts of the light-microscopy phantom: outlines of cells, their packing, and how each microscope shows them."""
