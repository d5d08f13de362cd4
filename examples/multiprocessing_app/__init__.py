"""The program that started this project, before and after its one changed line."""
