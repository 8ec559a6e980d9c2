"""Running one load on several workers: on this machine or on a Dask cluster."""
