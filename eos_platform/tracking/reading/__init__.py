"""Reading a study and its operators back from MLflow."""
