"""The files for Prometheus and Grafana: alerts, and a dashboard that is made from the list of signals."""
