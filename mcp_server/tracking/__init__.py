"""The one MLflow server that `/mlflow` reaches, and that can be told of runs and versions.

upstream   requests to it, behind a circuit breaker
telling    runs and versions written there, in the background
"""
