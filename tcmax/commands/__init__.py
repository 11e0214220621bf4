"""What a person asks for on the command line: one module per command, each with one public function."""
