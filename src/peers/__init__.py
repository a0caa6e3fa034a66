"""Other libraries' accelerations, measured by the same runner: a file a library.

They are no methods of `baselines`, which know tensors only: these know pipelines and import what they wrap, when used.
"""
