"""The program desk: a plan as text, when it lands, what moves it, and what has been shown."""
