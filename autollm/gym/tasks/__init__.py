"""What is asked and how it is played: tasks, suites, views, episodes."""
