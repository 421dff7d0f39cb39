"""The uvicorn server, with limits on connections."""
