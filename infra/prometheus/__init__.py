"""What Prometheus and Grafana need: alerts, and a dashboard made from the list of signals."""
