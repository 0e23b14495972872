"""What every room of the services layer stands on."""
