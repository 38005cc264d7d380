"""What the commands share: errors, exit codes, output folders, options, lists of cases."""
