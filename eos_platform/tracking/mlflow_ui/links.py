"""Addresses within MLflow's pages; nothing of MLflow is needed to make them."""

TRAINING = "workflowType=machine_learning"


def run_url(experiment_id: str, run_id: str, server: str = "") -> str:
    """The address of a run's page; without the server, a link within MLflow's pages."""
    # without the type MLflow opens its pages for agents, where the run is an "evaluation"
    return f"{server and server.rstrip('/') + '/'}#/experiments/{experiment_id}/runs/{run_id}?{TRAINING}"
