"""The uvicorn server with bounds on connections."""
