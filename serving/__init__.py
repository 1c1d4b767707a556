"""What Corral serves over HTTP: pages for people, the adapter's API, feedback and figures."""
