"""What leaves, and in which form: pseudonyms, treatments, and the engines that apply the rules."""
