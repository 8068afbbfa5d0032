"""What the reporting commands share: statistics, Markdown and HTML, versions, and the skeleton of a command line."""
