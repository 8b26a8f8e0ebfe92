"""The parts of the electron-microscopy phantom: geometry first (neurites, mitochondria, small organelles), grey after.

Everything is described in nanometres in one continuous scene; labels and image are sampled from that same scene at
the same points, so that they agree voxel for voxel at any voxel size. `emlib.data.em_phantom` puts the parts together.
"""
