"""Where rows go: Parquet parts, and the stores that hold them."""
