"""What MLflow's own pages show of a study: views by address, the line of the front, links."""
