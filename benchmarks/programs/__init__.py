"""What the tables run in processes of their own."""
