"""Making the table: every point's operator deployed and asked, searches and their snapshots, times, one Parquet."""
