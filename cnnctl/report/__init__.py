"""Results for people and for programs: the only place that formats numbers."""
