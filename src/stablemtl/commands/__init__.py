"""One file per subcommand; ``stablemtl.cli`` says what a command file holds."""
